//! The Muster gateway: mTLS MQTT endpoint, registrar, issuing CA, HTTPS API and console.
