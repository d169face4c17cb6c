//! Certificates and signed documents issued on hosts: profiles, encrypted key files, signing.
