"""Running a bundle in a session: in the loop's thread or on a worker, by windows or by steps, and what guards it."""
