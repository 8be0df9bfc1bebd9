"""The worker loop: claim, plan, run, record."""
