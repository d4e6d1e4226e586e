"""Real daemons killed at chosen calls, and the account compared with their books afterwards."""
