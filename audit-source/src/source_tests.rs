//! The source without a server and without a writer: filters, losses, via and whose command it was.
#![forbid(unsafe_code)]
