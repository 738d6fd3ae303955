"""Pages, files and JSON over HTTP."""
