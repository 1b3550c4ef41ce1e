"""What happens when it grows: how much data, how much compute, which model; answers with intervals."""
