"""``make demo``: a real agent on real embedded models, every step routed, checked and booked.

Read ``agent.py`` first: it is the whole agent, and it knows nothing of this demo.
"""
