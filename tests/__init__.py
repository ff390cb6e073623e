"""What the system promises, as sentences that can fail."""
