"""What OpenAPI says of the routes that the router does not see, or would describe wrongly."""
