"""Grids at S3-compatible vendors: `S3Grid` in `grid`, what settings mean in `terms`. Nothing else knows a vendor's name."""
