"""Holdfast: an S3 endpoint that keeps working when the storage behind it does not."""

__version__ = "0.1.0"
