"""What a training step learns from: text that the policy writes, given rows, a queue, a mixture."""
