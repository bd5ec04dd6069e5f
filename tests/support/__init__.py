"""What several tests share: servers, processes and sample data."""
