"""What the program is made of: the lock files, their licences, their known vulnerabilities."""
