"""The lab: recorded traces replayed, policies evaluated, reports. Reads files, never calls a vendor."""
