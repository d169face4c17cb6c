//! The Linux agent: key store, slots, rumqttc over rustls, local API.
