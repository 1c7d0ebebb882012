"""From records to ranks: what each is worth, what they add up to, what may be said of a difference."""
