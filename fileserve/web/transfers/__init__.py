"""Who downloads what: what each response took, folded into logical transfers, and shown."""
