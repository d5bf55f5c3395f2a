"""A directory as a grid. `FolderGrid` is all that others need."""

from holdfast.grids.folder.grid import FolderGrid

__all__ = ["FolderGrid"]
