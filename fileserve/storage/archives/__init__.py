"""A directory as one file that has a size and any span: tar or zip."""
