"""The profile autoencoder: several views of one customer, one latent vector, items, features and predictions out."""
