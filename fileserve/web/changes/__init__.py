"""All that changes files: PUT, forms, tus, DELETE, MKCOL and MOVE."""
