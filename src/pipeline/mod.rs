//! The lanes that frames travel: stages on named threads, bounded buffers, policies, clock, statistics.
