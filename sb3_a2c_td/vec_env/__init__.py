"""Vector environments for SB3: Gymnasium's, their autoreset steps, and their action masks."""
