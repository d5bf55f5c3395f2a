"""The outage laboratory: real provider processes behind proxies that misbehave, a gateway, and clients that check every answer.

`faults` says what can go wrong, `scenarios` which of it belongs together, `stage` starts the processes, `play` runs one
scenario, `report` judges and tells. Everything runs on loopback. Invariant: nothing outlives its stage, and
a figure in a report was measured in the run that it belongs to.
"""
