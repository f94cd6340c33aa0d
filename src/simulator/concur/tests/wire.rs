//! The simulated Concur over real sockets: what the pure tables cannot show.
