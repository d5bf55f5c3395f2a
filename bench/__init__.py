"""What the gateway costs: load, measurement and results. Not installed, and imported by nothing that is."""
