//! Who is there, and is the line private: SCRAM, md5, TLS, users.
