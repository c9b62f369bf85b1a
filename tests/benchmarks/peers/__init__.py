"""This program beside other task queues: the same jobs, the same API, the same Redis."""
