"""A benchmark: which tokenizer and which positional embedding let a small transformer learn to add?"""

__version__ = "0.1.0"
