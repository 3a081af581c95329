module serinus/clusterlab/pods

go 1.26.0
