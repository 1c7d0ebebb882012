"""From records to ranks: what each record is worth, what they add up to, what may be said about a difference."""
