"""Looking at a layer: are its gradients right, and how far back do they reach?"""
