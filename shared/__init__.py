"""What every function shares: this package is the Lambda layer."""
