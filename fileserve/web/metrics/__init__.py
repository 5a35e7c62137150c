"""What is counted, kept over the lives of workers, and told at ``/metrics``."""
