//! Nothing but a place for the tests and examples of `proactor` with other libraries: hyper, rustls, tokio, smol's executor,
//! tracing. They enable its features, and bring dependencies that those who build the library alone do without.
