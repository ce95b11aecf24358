"""Learning: from recorded outcomes to artefacts that score. Needs the ``train`` extra; nothing here runs in service."""
