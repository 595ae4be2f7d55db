//! The protocol of idem's leases, checked to the end: see `tests/lease/`.
