//! The network as data: operators, shapes, and passes over them.
