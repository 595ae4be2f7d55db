//! The macros as users see them. The tests are beside this file; a package must have a library.
