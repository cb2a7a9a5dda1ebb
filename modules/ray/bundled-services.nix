# The services of cognitive_actors, by the names of their modules in cognitive_actors.serve: a new one
# is a line here. `thinks`: it is given the generative model. `route`: where it is reached, if not
# below its name. `requests`: for how many under way there is a replica, if not for 16. `optional`: it is
# there where the head serves language models, or where it is named.
{
  cognitive.thinks = true;
  organism.thinks = true;
  pipeline.thinks = true;
  state = { };
  ml.thinks = true;
  energy.thinks = true;
  # Where no node has language models there is nobody to ask.
  chat = {
    route = "/v1";
    optional = true;
  };
  page = {
    thinks = true;
    route = "/";
    # Viewers: each is a request that lasts, and costs little.
    requests = 32;
  };
}
