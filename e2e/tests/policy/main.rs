//! What the apiserver refuses and admits, on a real cluster (KUBECONFIG): the requests policy, the roles for
//! people, the operator's own rights, and the rules in the schemas.

mod cases;
mod cluster;
mod deletions;
mod mutants;
mod requests;
mod rights;
mod schema;
mod types;
