"""Everything that predicts and learns."""
