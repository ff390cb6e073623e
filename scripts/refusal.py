"""What a command says when it cannot do what it was asked for."""


class Refusal(Exception):
    """I cannot, because …: do this. The message is for whoever typed the command, in a sentence or a few lines."""
