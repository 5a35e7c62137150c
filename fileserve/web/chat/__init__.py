"""Questions about the files, and who answers them."""
