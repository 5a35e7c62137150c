"""What the workers of one server share: the bus of events, the doorbell and the election."""
