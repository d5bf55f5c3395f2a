"""Grids at Azure Blob Storage and Google Cloud Storage. Invariant: nothing but this room knows how these two differ."""
