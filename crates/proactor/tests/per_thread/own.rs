//! What a port of one thread has of its own: posts from other threads, blocks that stay on their thread.
