//! What users see of the macros. The tests are beside this file; a package must have a library.
