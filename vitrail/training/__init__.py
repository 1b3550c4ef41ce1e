"""How it is learned: a generator of steps, and what makes them fast, safe and resumable."""
