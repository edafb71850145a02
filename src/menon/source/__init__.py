"""What a training step learns from: text that the policy writes, rows that are there, a queue, a mixture."""
